"""An ament_python package: colcon build --packages-select prepare_models_ros."""

from glob import glob

from setuptools import setup

NAME = "prepare_models_ros"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.launch.py")),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="Your name",
    maintainer_email="maintainers@example.com",
    description="Builds the engine of a model for this machine, then launches its Isaac ROS node.",
    license="Apache-2.0",
    entry_points={"console_scripts": [f"prepare = {NAME}.prepare:main"]},
)
