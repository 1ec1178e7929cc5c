"""The first steps of a new user, and then the deletion of the key under the same client.

Reads the three DATATURE_VI_ variables from its environment, as the printed snippet sets them. Prints `listed` when
the datasets were listed, and waits for a line on stdin, before which the test deletes the key.
"""

import vi
from report import attempt, finish

client = vi.Client()
organization_id = client.organizations.get().organization_id
print(organization_id)

created = client.datasets.create(name="Drone footage")

names = []
for dataset in client.datasets:
    print(dataset.name)
    names.append(dataset.name)

print("listed")
input()

finish(
    {
        "organization_id": organization_id,
        "created": created.name,
        "names": names,
        "after_deletion": attempt(lambda: [dataset.name for dataset in client.datasets]),
        "write_after_deletion": attempt(lambda: client.datasets.create(name="Too late").name),
    }
)
