"""librdkafka's own mock cluster: brokers that speak Kafka's protocol, in a thread of this process."""

import json

from waiting import PATIENT_S

TOPIC = "faces"


class KafkaCluster:
    def __init__(self, partitions=4):
        from confluent_kafka import Producer

        options = {"bootstrap.servers": "ignored", "test.mock.num.brokers": 3, "log_level": 0}
        self._owner = Producer({**options, "test.mock.default.partitions": partitions} if partitions != 4 else options)
        brokers = self._owner.list_topics(timeout=PATIENT_S).brokers.values()
        self.servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def records(self, topic=TOPIC):
        """Partition, key, header and content of every record, in the order of each partition."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "test", "log_level": 0})
        found = []
        for number in consumer.list_topics(topic, timeout=PATIENT_S).topics[topic].partitions:
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=PATIENT_S)
            consumer.assign([TopicPartition(topic, number, 0)])
            position = 0
            while position < end:
                record = consumer.poll(PATIENT_S)
                assert record is not None and record.error() is None, record
                position = record.offset() + 1
                header = dict(record.headers())["idempotency-key"].decode()
                found.append((number, record.key(), header, json.loads(record.value())))
        consumer.close()
        return found
