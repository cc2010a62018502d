"""The history: what it says at a run's begin and end, its archive in the vault, and whether both still hold."""
