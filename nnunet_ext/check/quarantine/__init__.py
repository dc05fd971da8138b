"""Where repairs put what they replace, and how they are ended after a kill or taken back."""
