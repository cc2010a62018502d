"""What a benchmark came to, as JSON, as pictures and as a page."""
