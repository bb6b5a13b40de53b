"""What the contenders do: each file runs by itself, in the environment of its contender."""
