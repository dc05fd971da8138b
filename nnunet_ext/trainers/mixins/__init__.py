"""Parts of a trainer that connect policies to nnU-Net's hooks."""
