"""The project folder and its files, as text: what settings are read from. Imports little."""
