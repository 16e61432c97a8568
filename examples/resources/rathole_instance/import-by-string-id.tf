import {
  to = rathole_instance.satisfactory
  id = "srv_user123_abcd1234"
}
