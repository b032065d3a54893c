"""The search for the layout that makes two records agree."""
