"""What the screens say, in words and numbers; no terminal in here."""
