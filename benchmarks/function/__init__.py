"""How fast the backend function is beside Keras' own ways to run and train a model."""
