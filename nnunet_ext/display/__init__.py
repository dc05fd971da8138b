"""Tables on terminals and figures in colours for light and dark pages, whatever they show."""
