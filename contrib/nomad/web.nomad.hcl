# A pod and a container as tasks of Nomad's. The client of a task must say, in its own configuration:
#
#   plugin "raw_exec"            { config { enabled = true } }
#   plugin "nomad-driver-podman" { config { } }
#
# and podman's runtime is jetpack-oci by containers.conf (docs/oci-runtime.md).
job "web" {
  type = "service"

  # A pod with its supervisor as the task's process: a signal asks its apps to end, its exit code is that of the first app that failed,
  # and what it prints is the task's log.
  group "pod" {
    network {
      port "http" {
        to = 80
      }
    }

    task "web" {
      driver      = "raw_exec"
      kill_signal = "SIGTERM"
      # jetpack asks, waits, and takes the pod away; Nomad kills what is left then.
      kill_timeout = "40s"

      config {
        command = "/usr/bin/jetpack"
        args = [
          "run", "--rm", "--replace",
          "--pod-name", "web-${NOMAD_ALLOC_ID}",
          "--net", "default",
          "--port", "${NOMAD_PORT_http}:80",
          "docker://nginx:1.27",
        ]
      }

      resources {
        cpu    = 500
        memory = 256
      }
    }
  }

  # A container of podman's over jetpack-oci.
  group "container" {
    network {
      port "http" {
        to = 80
      }
    }

    task "web" {
      driver = "podman"

      config {
        image = "docker.io/library/nginx:1.27"
        ports = ["http"]
      }

      resources {
        cpu    = 500
        memory = 256
      }
    }
  }
}
