"""Parts of nnUNetTrainerExt, each a class that connects a policy or a record to nnU-Net's hooks."""
