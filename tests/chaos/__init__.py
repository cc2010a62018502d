"""Workers that are killed, frozen and given wrong clocks, and what watches them."""
