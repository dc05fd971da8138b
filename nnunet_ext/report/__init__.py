"""What a result is worth, for people: Dice, tables and pictures."""
