"""How this installation meets nnU-Net: its variables, the start-up file that shows our trainers, the doctor."""
