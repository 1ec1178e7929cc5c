"""Every call on organizations and datasets that the server implements, one after the other."""

import msgspec
import vi
from report import attempt, finish

client = vi.Client()


def plain(struct) -> dict:
    """A response of the client as plain data; names as on the wire. What has its default is left out."""
    return msgspec.to_builtins(struct)


facts = {}
facts["organization"] = plain(client.organizations.get())
facts["organizations"] = [organization.organization_id for organization in client.organizations]
facts["renamed_organization"] = client.organizations.update(spec={"name": "Renamed"}).name
facts["organization_name_again"] = client.organizations.get().name
facts["organization_attributes"] = client.organizations.update(metadata={"team": "vision"}).organization_id
facts["organization_collaborators"] = client.organizations.list_collaborators().items

facts["types"] = {
    dataset_type: client.datasets.create(name=f"A {dataset_type}", dataset_type=dataset_type).type.value
    for dataset_type in ("phrase-grounding", "vqa", "freeform")
}
created = client.datasets.create(
    name="Tomatoes",
    description="ripe or not",
    tags={"ripe": 0},
    metadata={"season": "spring"},
)
identifier = created.dataset_id
facts["created"] = plain(created)
facts["got"] = plain(client.datasets.get(identifier))
facts["updated"] = plain(
    client.datasets.update(identifier, spec={"name": "Peppers", "description": ""}, metadata={"season": "summer"})
)
facts["got_after_update"] = client.datasets.get(identifier).name
facts["collaborators"] = client.datasets.list_collaborators(identifier).items
facts["simple"] = [item for item in client.datasets.list_simple().all_items() if item["name"] == "Peppers"]
# The items of this list are plain dictionaries, so a user passes their id on as it came.
facts["got_by_simple_id"] = client.datasets.get(facts["simple"][0]["datasetId"]).dataset_id
facts["in_organization"] = identifier in client.organizations.get().datasets

facts["deleted"] = plain(client.datasets.delete(identifier))
facts["deletion_operation"] = plain(client.datasets.get_deletion_operation(identifier))
facts["got_after_deletion"] = attempt(lambda: client.datasets.get(identifier).name)
facts["listed_after_deletion"] = identifier in [dataset.dataset_id for dataset in client.datasets]
facts["never_was"] = attempt(lambda: client.datasets.get("never-was").name)
facts["no_operation"] = attempt(lambda: client.datasets.get_deletion_operation("never-was").kind)
facts["bad_type"] = attempt(lambda: client.datasets.create(name="Bad", dataset_type="holograms").name)

finish(facts)
