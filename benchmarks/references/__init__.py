"""What Lockstep is measured against: each written as someone who knows the store well would write it."""
