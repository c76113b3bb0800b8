"""A cluster of Kafka for the test beside it: librdkafka's own mock of one, with brokers that can be taken down.

Reads commands from standard input and answers each with a line. With arguments (CA CERT KEY) there is TLS, with client
certificates, before each broker.
"""

import ctypes
import glob
import json
import os
import socket
import ssl
import struct
import sys
import threading

import confluent_kafka
from confluent_kafka import Consumer, TopicPartition

BROKERS = 3
HOST = "127.0.0.1"


class Mock:
    """See rdkafka_mock.h."""

    def __init__(self):
        package = os.path.dirname(confluent_kafka.__file__)
        self.library = ctypes.CDLL(glob.glob(f"{package}.libs/librdkafka*")[0])
        for name in ("conf_new", "new", "mock_cluster_new", "mock_cluster_bootstraps"):
            getattr(self.library, f"rd_kafka_{name}").restype = ctypes.c_void_p
        error = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self.library.rd_kafka_conf_new())
        client = ctypes.c_void_p(self.library.rd_kafka_new(0, conf, error, 512))
        assert client, error.value
        self.cluster = ctypes.c_void_p(self.library.rd_kafka_mock_cluster_new(client, BROKERS))
        bootstraps = ctypes.c_void_p(self.library.rd_kafka_mock_cluster_bootstraps(self.cluster))
        self.brokers = ctypes.string_at(bootstraps.value).decode()

    def topic(self, name, partitions):
        assert self.library.rd_kafka_mock_topic_create(self.cluster, name.encode(), int(partitions), BROKERS) == 0

    def leader(self, name, partition, broker):
        call = self.library.rd_kafka_mock_partition_set_leader
        assert call(self.cluster, name.encode(), int(partition), int(broker)) == 0

    def down(self, broker):
        assert self.library.rd_kafka_mock_broker_set_down(self.cluster, int(broker)) == 0

    def up(self, broker):
        assert self.library.rd_kafka_mock_broker_set_up(self.cluster, int(broker)) == 0

    def refuse(self, api, error, times):
        """The next requests of a kind are answered with an error."""
        errors = (ctypes.c_int * int(times))(*[int(error)] * int(times))
        self.library.rd_kafka_mock_push_request_errors_array(
            self.cluster, ctypes.c_int16(int(api)), ctypes.c_size_t(int(times)), errors
        )

    def read(self, topic):
        """All records, as librdkafka's consumer has them."""
        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": "judge", "enable.auto.commit": False})
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        records = []
        for partition in partitions:
            place = TopicPartition(topic, partition, 0)
            end = consumer.get_watermark_offsets(place, timeout=30)[1]
            consumer.assign([place])
            while end and (not records or records[-1]["partition"] != partition or records[-1]["offset"] + 1 < end):
                for message in consumer.consume(10000, timeout=1):
                    assert not message.error(), message.error()
                    key, value, time = message.key().decode(), message.value().decode(), message.timestamp()[1]
                    place = {"partition": partition, "offset": message.offset()}
                    records.append({**place, "key": key, "value": value, "time": time})
        consumer.close()
        return records


class Tls:
    """A broker's TLS. The addresses of brokers in what they answer become those of their TLS."""

    def __init__(self, brokers, ca, cert, key):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
        self.context.load_cert_chain(cert, key)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.ports = {}
        for address in brokers.split(","):
            listener = socket.create_server((HOST, 0))
            port = int(address.rsplit(":", 1)[1])
            self.ports[port] = listener.getsockname()[1]
            threading.Thread(target=self.listen, args=(listener, port), daemon=True).start()
        self.brokers = ",".join(f"localhost:{port}" for port in self.ports.values())

    def listen(self, listener, port):
        while True:
            client = listener.accept()[0]
            try:
                client = self.context.wrap_socket(client, server_side=True)
            except OSError:
                continue
            broker = socket.create_connection((HOST, port))
            for work in (lambda: self.pass_on(client, broker), lambda: self.answer(broker, client)):
                threading.Thread(target=work, daemon=True).start()

    def pass_on(self, client, broker):
        while data := client.recv(65536):
            broker.sendall(data)

    def answer(self, broker, client):
        stream = broker.makefile("rb")
        while head := stream.read(4):
            body = stream.read(struct.unpack(">i", head)[0])
            for plain, secure in self.ports.items():
                old, new = (name + struct.pack(">i", port) for name, port in ((b"127.0.0.1", plain), (b"localhost", secure)))
                body = body.replace(old, new)
            client.sendall(head + body)


def main():
    mock = Mock()
    front = Tls(mock.brokers, *sys.argv[1:]) if sys.argv[1:] else mock
    print(front.brokers, flush=True)
    for line in sys.stdin:
        command, *words = line.split()
        print(json.dumps(getattr(mock, command)(*words)), flush=True)


main()
