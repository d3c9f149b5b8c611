"""The tables: their designs, their rows and cells, and their forms."""
