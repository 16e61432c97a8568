data "rathole_manager" "vps" {}

check "room_for_more" {
  assert {
    condition     = data.rathole_manager.vps.control_ports.free > 10
    error_message = "The manager has ${data.rathole_manager.vps.control_ports.free} control ports left."
  }
}
