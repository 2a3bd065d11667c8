"""Python interface of the engine: a forecaster, its model, its predictions."""
