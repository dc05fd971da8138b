"""The doctor, env, register and unregister verbs: how this installation meets nnU-Net."""
