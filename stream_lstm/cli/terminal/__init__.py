"""Terminal output: safe text, tables that fit the width, and an alternate screen that is restored."""
