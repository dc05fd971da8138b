"""How this installation meets nnU-Net: its variables, the file that names our trainers to it, the doctor."""
