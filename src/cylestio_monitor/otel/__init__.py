"""The way in: launcher entry points and the set-up that wires the parts together. Nowhere else are they wired."""
