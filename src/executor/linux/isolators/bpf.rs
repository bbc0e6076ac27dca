//! The language of filters of system calls, and how machines number calls.

/// An instruction of a filter: code, where to go when it holds and when not, operand.
pub type Op = (u16, u8, u8, u32);

pub const LOAD: u16 = 0x20;
pub const JUMP: u16 = 0x05;
pub const EQUAL: u16 = 0x15;
pub const ABOVE: u16 = 0x25;
pub const NOT_BELOW: u16 = 0x35;
pub const BITS: u16 = 0x45;
pub const AND: u16 = 0x54;
pub const RETURN: u16 = 0x06;
/// Where the kernel has what a filter looks at.
pub const AT_NUMBER: u32 = 0;
pub const AT_AUDIT: u32 = 4;
pub const AT_ARGUMENTS: u32 = 16;

/// One numbering of calls that the kernel of a machine takes.
pub struct Numbering {
    /// As libseccomp calls it.
    pub name: &'static str,
    /// As the kernel's audit does.
    pub audit: u32,
    pub number: fn(&str) -> Option<u32>,
    /// From where on there are calls of the machine's own, beyond all others.
    pub own: Option<u32>,
    /// The bit that its calls have beyond those of the same audit number.
    pub bit: Option<u32>,
}

#[cfg(target_arch = "x86_64")]
pub const NUMBERINGS: [Numbering; 2] = [
    Numbering { name: "SCMP_ARCH_X86_64", audit: 0xc000_003e, number: native, own: None, bit: None },
    Numbering {
        name: "SCMP_ARCH_X86",
        audit: 0x4000_0003,
        number: |name| number(name.parse().map(|call: syscalls::x86::Sysno| call.id())),
        own: None,
        bit: None,
    },
];
#[cfg(target_arch = "aarch64")]
pub const NUMBERINGS: [Numbering; 2] = [
    Numbering { name: "SCMP_ARCH_AARCH64", audit: 0xc000_00b7, number: native, own: None, bit: None },
    Numbering {
        name: "SCMP_ARCH_ARM",
        audit: 0x4000_0028,
        number: |name| number(name.parse().map(|call: syscalls::arm::Sysno| call.id())),
        own: Some(0xf_0000),
        bit: None,
    },
];
#[cfg(target_arch = "riscv64")]
pub const NUMBERINGS: [Numbering; 1] =
    [Numbering { name: "SCMP_ARCH_RISCV64", audit: 0xc000_00f3, number: native, own: None, bit: None }];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub const NUMBERINGS: [Numbering; 0] = [];

/// The numbering that goes by the audit number of another.
#[cfg(target_arch = "x86_64")]
pub const X32: [Numbering; 1] = [Numbering {
    name: "SCMP_ARCH_X32",
    audit: 0xc000_003e,
    number: |name| native(name).map(|number| number | 0x4000_0000),
    own: None,
    bit: Some(0x4000_0000),
}];
#[cfg(not(target_arch = "x86_64"))]
pub const X32: [Numbering; 0] = [];

/// The number of a call on this machine.
pub fn native(name: &str) -> Option<u32> {
    number(name.parse().map(|call: syscalls::Sysno| call.id()))
}

fn number<N: TryInto<u32>, E>(found: Result<N, E>) -> Option<u32> {
    found.ok()?.try_into().ok()
}

/// What the kernel would answer, by running the program as the kernel does.
#[cfg(test)]
pub fn answer(program: &[Op], audit: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let (mut at, mut accumulator) = (0_usize, 0_u32);
    loop {
        let (code, holds, fails, operand) = program[at];
        at += 1;
        let jump = |yes: bool| usize::from(if yes { holds } else { fails });
        match code {
            LOAD => {
                accumulator = match operand {
                    AT_NUMBER => number,
                    AT_AUDIT => audit,
                    other => {
                        let (index, half) = ((other - AT_ARGUMENTS) / 8, (other - AT_ARGUMENTS) % 8);
                        (arguments[index as usize] >> (half * 8)) as u32
                    }
                }
            }
            AND => accumulator &= operand,
            JUMP => at += operand as usize,
            EQUAL => at += jump(accumulator == operand),
            ABOVE => at += jump(accumulator > operand),
            NOT_BELOW => at += jump(accumulator >= operand),
            BITS => at += jump(accumulator & operand != 0),
            RETURN => return operand,
            other => panic!("no instruction of a filter: {other:#x}"),
        }
    }
}
