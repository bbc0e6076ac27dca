//! What bounds a container, in the words of control groups of version 1.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `linux.resources`, which is also what `update` takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// What device nodes can be opened, the last rule that fits counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceRule>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Processor time.
    pub cpu: Option<Cpu>,
    /// Processes.
    pub pids: Option<Pids>,
    /// Block devices.
    #[serde(rename = "blockIO")]
    pub block_io: Option<BlockIo>,
    /// Large pages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// Marks for its packets.
    pub network: Option<Network>,
    /// Remote memory.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<String, Rdma>,
    /// Files of version 2, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unified: BTreeMap<String, String>,
}

/// Whether devices can be opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRule {
    /// Whether they can.
    pub allow: bool,
    /// `a`, `b`, `c`
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The driver; nothing, or negative: each.
    pub major: Option<i64>,
    /// The device; nothing, or negative: each.
    pub minor: Option<i64>,
    /// Some of `rwm`.
    pub access: Option<String>,
}

/// Memory, in bytes; negative values mean no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// What may be used.
    pub limit: Option<i64>,
    /// What it is pushed back to when memory is short.
    pub reservation: Option<i64>,
    /// What may be used together with swap.
    pub swap: Option<i64>,
    /// Of the kernel's own, which it counts no longer.
    pub kernel: Option<i64>,
    /// Of its buffers for TCP.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    /// How eagerly it is swapped out, 0 to 100.
    pub swappiness: Option<u64>,
    /// Whether nothing is killed when it has no more.
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    /// Whether what groups below use counts.
    pub use_hierarchy: Option<bool>,
    /// Whether `update` may set a limit below what is used.
    pub check_before_update: Option<bool>,
}

/// Processor time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cpu {
    /// Relative weight, 2 to 262144.
    pub shares: Option<u64>,
    /// Microseconds in a period.
    pub quota: Option<i64>,
    /// Microseconds that may be saved up.
    pub burst: Option<u64>,
    /// Microseconds.
    pub period: Option<u64>,
    /// Real-time microseconds in a period.
    pub realtime_runtime: Option<i64>,
    /// Real-time microseconds: the period.
    pub realtime_period: Option<u64>,
    /// Which processors: `0-3,7`.
    pub cpus: Option<String>,
    /// Which nodes of memory.
    pub mems: Option<String>,
    /// Whether it gets only what others leave.
    pub idle: Option<i64>,
}

/// Processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pids {
    /// How many there may be; none of positive: as many as there can be.
    pub limit: Option<i64>,
}

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockIo {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// Against its own groups below.
    pub leaf_weight: Option<u16>,
    /// Of some devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes a second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_bps_device: Vec<Throttle>,
    /// Bytes a second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_bps_device: Vec<Throttle>,
    /// Operations a second.
    #[serde(rename = "throttleReadIOPSDevice", skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_iops_device: Vec<Throttle>,
    /// Operations a second.
    #[serde(rename = "throttleWriteIOPSDevice", skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_iops_device: Vec<Throttle>,
}

/// A device's weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightDevice {
    /// Which driver.
    pub major: i64,
    /// Which device.
    pub minor: i64,
    /// 10 to 1000.
    pub weight: Option<u16>,
    /// 10 to 1000, against the groups below it.
    pub leaf_weight: Option<u16>,
}

/// A device's limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Throttle {
    /// Which driver.
    pub major: i64,
    /// Which device.
    pub minor: i64,
    /// A second.
    pub rate: u64,
}

/// Large pages of one size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HugepageLimit {
    /// `2MB`
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// Marks for packets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// A class for tc(8).
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    /// By interface.
    pub priorities: Vec<InterfacePriority>,
}

/// How urgent packets by an interface are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InterfacePriority {
    /// The interface.
    pub name: String,
    /// How urgent.
    pub priority: u32,
}

/// Remote memory by one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rdma {
    /// Handles.
    pub hca_handles: Option<u32>,
    /// Objects.
    pub hca_objects: Option<u32>,
}
