"""Access to the pages: the guard in front of them, login links and sessions."""
