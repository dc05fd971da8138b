"""Trainers for nnU-Net: settings by variables and files, early stopping, checkpoints that survive."""
