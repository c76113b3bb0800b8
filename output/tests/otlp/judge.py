"""Reads requests of OTLP from standard input, each behind its length in four bytes, and writes what OpenTelemetry's own types
understand of each as one line of JSON.
"""

import json
import struct
import sys

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest


def unknown(message):
    """Whether a message, or one in it, has fields that its type has not."""
    again = type(message)()
    again.CopyFrom(message)
    again.DiscardUnknownFields()
    return again != message or again.ByteSize() != message.ByteSize()


def main():
    stream = sys.stdin.buffer
    while head := stream.read(4):
        request = ExportLogsServiceRequest.FromString(stream.read(struct.unpack(">I", head)[0]))
        assert not unknown(request), "fields that the types have not"
        print(json.dumps(MessageToDict(request)), flush=True)


main()
