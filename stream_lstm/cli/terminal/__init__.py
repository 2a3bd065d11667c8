"""What people read in a terminal: text that is safe to show, tables that fit, and a screen left as it was."""
