"""The baseline: the script of a user who needs one engine and nothing else. Parse, build, write."""

import sys

import tensorrt_rtx as trt


def main(model: str, plan: str) -> None:
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(model):
        raise SystemExit(parser.get_error(0).desc())
    config = builder.create_builder_config()
    engine = builder.build_serialized_network(network, config)
    with open(plan, "wb") as stream:
        stream.write(engine)


if __name__ == "__main__":
    main(*sys.argv[1:])
