# Every instance of the manager that is down, whoever made it.
data "rathole_instances" "down" {
  status = "down"
}

output "why" {
  value = {
    for i in data.rathole_instances.down.instances :
    i.server_id => [for c in i.conditions : c.message if c.status == "False"]
  }
}
