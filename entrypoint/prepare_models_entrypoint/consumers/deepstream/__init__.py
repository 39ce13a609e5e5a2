"""DeepStream: the configuration of nvinfer."""
