"""Isaac ROS."""
