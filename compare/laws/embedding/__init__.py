"""The law of embeddings."""
