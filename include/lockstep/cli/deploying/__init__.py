"""What `lockstep deploy` does: start or attach, look, show, and answer."""
