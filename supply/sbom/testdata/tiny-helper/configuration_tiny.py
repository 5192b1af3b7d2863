class TinyConfig:
    model_type = "tiny"
