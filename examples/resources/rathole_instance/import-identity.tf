# Terraform 1.12 or later
import {
  to = rathole_instance.satisfactory
  identity = {
    server_id = "srv_user123_abcd1234"
  }
}
