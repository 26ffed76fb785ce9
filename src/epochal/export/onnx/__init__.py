"""`--format onnx`: the model, and a table's preprocessing, as an ONNX graph."""
