"""/asyncapi.yaml: as AsyncAPI 3.0 wants it, as the sources have it, as it is served.
stream_test.py holds the frames themselves against it."""

import json
import os
import re
import unittest

from lib.live import ASYNCAPI, jsonschema
from lib.service import ROOT, Service, short_form

# The official JSON Schema of the format, which the console's packages bring along.
SCHEMA = os.path.join(ROOT, "build", "console", "node_modules", "@asyncapi", "specs", "schemas",
                      "3.0.0-without-$id.json")


def names(source, table):
    """The strings of a table of names."""
    with open(os.path.join(ROOT, source)) as file:
        text = file.read()
    text = text[text.index(table):]
    return set(re.findall(r'= "(\w+)"', text[:text.index("};")]))


def targets(node):
    """Every $ref."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


class AsyncApi(unittest.TestCase):
    def problems(self, document):
        with open(SCHEMA) as file:
            validator = jsonschema.Draft7Validator(json.load(file))
        return [error.message[:300] for error in validator.iter_errors(document)]

    def test_the_schema_finds_nothing(self):
        if not os.path.exists(SCHEMA):
            raise unittest.SkipTest("the console's packages are not at build/console")
        self.assertEqual(self.problems(ASYNCAPI), [])
        # And would find something.
        for wrong in ({"asyncapi": "3.0.0"}, dict(ASYNCAPI, channels={"run": {"adress": "/"}}),
                      dict(ASYNCAPI, operations={"speak": {"action": "shout"}})):
            self.assertNotEqual(self.problems(wrong), [])

    def test_every_reference_is_there(self):
        for target in targets(ASYNCAPI):
            node = ASYNCAPI
            for part in target.removeprefix("#/").split("/"):
                self.assertIn(part, node, target)
                node = node[part]

    def test_the_types_are_those_of_the_sources(self):
        said = names("api/client_frame.c", "type_names[]")
        heard = names("api/journal.c", "names[]") | {"stdin_credit"}
        channels, operations = ASYNCAPI["channels"], ASYNCAPI["operations"]
        self.assertEqual(set(ASYNCAPI["components"]["messages"]), said | heard)
        self.assertEqual(set(channels["run"]["messages"]), said | heard)
        self.assertEqual(set(channels["watch"]["messages"]), heard - {"stdin_credit"})

        def messages(operation):
            return {ref["$ref"].rsplit("/", 1)[1] for ref in operations[operation]["messages"]}
        self.assertEqual(messages("speak"), said)
        self.assertEqual(messages("tell"), heard)
        self.assertEqual(operations["show"]["channel"]["$ref"], "#/channels/watch")

    def test_it_is_served(self):
        with Service(config=short_form(0, 1)) as service:
            answer = service.request("GET", "/asyncapi.yaml", key=False)
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["Content-Type"], "application/yaml")
            with open(os.path.join(ROOT, "api", "reference", "asyncapi.yaml"), "rb") as file:
                self.assertEqual(answer.body, file.read())


if __name__ == "__main__":
    unittest.main()
