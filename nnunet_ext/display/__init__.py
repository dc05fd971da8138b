"""Tables of text, and colour themes for figures on light and dark pages."""
