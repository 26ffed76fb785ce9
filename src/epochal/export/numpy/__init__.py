"""`--format numpy`: the model as a script that needs NumPy alone."""
