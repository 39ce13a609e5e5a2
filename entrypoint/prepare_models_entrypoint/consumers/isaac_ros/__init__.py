"""Isaac ROS, by release: TensorRTNode and TritonNode."""
