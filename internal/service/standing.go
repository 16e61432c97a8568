package service

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/satishost/terraform-provider-rathole/internal/limits"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// Standing shows how a service stands when its metrics are read, by names that are the same on both.
type Standing struct {
	Guard
	// TakenOver is the supervisor's: what its start took over, false until the service is ready.
	TakenOver func() (supervisor.TakeOver, bool)
	// Version is the service's, Engine the engine's, empty if there is none.
	Version string
	Engine  func() string
	// Directories are watched for room, by the name that the metrics give them.
	Directories map[string]string
}

func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

func buildDesc() *prometheus.Desc {
	return metric("rathole_build_info", "1, with the versions of the service, of the engine that it starts, and of Go.", "version", "engine_version", "go_version")
}

func readyDesc() *prometheus.Desc {
	return metric("rathole_ready", "1 once records are loaded and running engines taken over; else 0.")
}

func alarmDesc() *prometheus.Desc {
	return metric("rathole_alarm", "1 while engines run that have no record, and a person must decide about them; else 0.")
}

func quarantinedDesc() *prometheus.Desc {
	return metric("rathole_quarantined_records", "Records that cannot be read; their engines and ports are left alone.")
}

func adoptedDesc() *prometheus.Desc {
	return metric("rathole_adopted_engines", "Running engines of an earlier run that this start of the service took over.")
}

func adoptionDesc() *prometheus.Desc {
	return metric("rathole_adoption_duration_seconds", "Time from this start of the service until records were loaded and engines taken over.")
}

func diskFreeDesc() *prometheus.Desc {
	return metric("rathole_disk_free_bytes", "Room on the disk of a directory (state, logs) that an ordinary user may fill.", "directory")
}

func diskSizeDesc() *prometheus.Desc {
	return metric("rathole_disk_size_bytes", "Size of the disk of a directory (state, logs).", "directory")
}

func inodesFreeDesc() *prometheus.Desc {
	return metric("rathole_disk_free_inodes", "Further files that the disk of a directory (state, logs) can hold; absent where it has no bound.", "directory")
}

// Describe implements prometheus.Collector.
func (Standing) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		buildDesc(), readyDesc(), alarmDesc(), quarantinedDesc(), adoptedDesc(), adoptionDesc(), diskFreeDesc(), diskSizeDesc(), inodesFreeDesc(),
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s Standing) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(buildDesc(), 1, s.Version, s.Engine(), runtime.Version())
	taken, ready := s.TakenOver()
	gauge(readyDesc(), truth(ready))
	gauge(alarmDesc(), truth(s.Alarm() != nil))
	gauge(quarantinedDesc(), float64(len(s.Quarantined())))
	if ready {
		gauge(adoptedDesc(), float64(taken.Adopted))
		gauge(adoptionDesc(), taken.Took.Seconds())
	}
	for name, dir := range s.Directories {
		room, err := limits.RoomOf(dir)
		if err != nil || room.Size == 0 {
			continue
		}
		gauge(diskFreeDesc(), float64(room.Free), name)
		gauge(diskSizeDesc(), float64(room.Size), name)
		if room.Inodes > 0 {
			gauge(inodesFreeDesc(), float64(room.FreeInodes), name)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
