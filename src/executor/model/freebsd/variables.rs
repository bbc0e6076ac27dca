//! Kernel variables of 13.2 that a pod may ask for, as its source describes them.

use crate::executor::freebsd::variables::Variable;

/// Numbers that every network has of its own (`CTLFLAG_VNET`), by what is before them.
const OF_NETWORKS: [(&str, &str); 10] = [
    (
        "net.inet.ip",
        "ttl forwarding redirect check_interface stealth sourceroute accept_sourceroute process_options \
         maxfragpackets maxfragsperpacket maxfragbucketsize random_id rfc6864",
    ),
    ("net.inet.ip.portrange", "lowfirst lowlast first last hifirst hilast randomized randomcps randomtime"),
    (
        "net.inet.icmp",
        "icmplim icmplim_jitter icmplim_output maskrepl drop_redirect log_redirect redirtimeout reply_from_interface \
         quotelen bmcastecho tstamprepl error_keeptags",
    ),
    ("net.inet.udp", "checksum log_in_vain blackhole"),
    (
        "net.inet.tcp",
        "nolocaltimewait syncookies syncookies_only msl always_keepalive pmtud_blackhole_detection pmtud_blackhole_mss \
         path_mtu_discovery tso sendspace sendbuf_auto sendbuf_inc sendbuf_max recvspace recvbuf_auto recvbuf_max mssdflt \
         v6mssdflt minmss rfc1323 tolerate_missing_ts icmp_may_rst isn_reseed_interval log_in_vain blackhole delayed_ack \
         drop_synfin do_prr newcwv rfc6675_pipe rfc3042 rfc3390 initcwnd_segments rfc3465 abc_l_var insecure_syn insecure_rst",
    ),
    ("net.inet.tcp.sack", "enable maxholes globalmaxholes"),
    ("net.inet.tcp.ecn", "enable maxretries"),
    ("net.inet.tcp.syncache", "rexmtlimit"),
    ("net.inet6.ip6", "forwarding redirect hlim accept_rtadv no_radr log_interval v6only use_tempaddr prefer_tempaddr"),
    ("net.inet6.icmp6", "rediraccept redirtimeout nd6_prune nd6_delay nd6_umaxtries nd6_mmaxtries nd6_useloopback"),
];

/// Those that look as if they were, and are the host's.
const OF_THE_HOST: [(&str, &str); 4] = [
    ("net.inet.ip", "intr_queue_maxlen intr_direct_queue_maxlen maxfrags"),
    ("net.inet.udp", "maxdgram recvspace"),
    (
        "net.inet.tcp",
        "maxtcptw persmin persmax keepinit keepidle keepintvl keepcnt delacktime rexmit_initial rexmit_min rexmit_slop \
         fast_finwait2_recycle finwait2_timeout rexmit_drop_options per_cpu_timers",
    ),
    ("kern", "maxfiles maxfilesperproc maxproc maxprocperuid coredump"),
];

/// What the kernel says of the variable, if it has it.
pub(super) fn variable(name: &str) -> Option<Variable> {
    let (above, last) = name.rsplit_once('.')?;
    let among = |lists: &[(&str, &str)]| {
        lists.iter().any(|(before, names)| *before == above && names.split(' ').any(|known| known == last))
    };
    match name {
        "net.inet.tcp.cc.algorithm" | "net.inet.icmp.reply_src" => Some(Variable::of_a_network(true)),
        "net.inet.ip.portrange.reservedhigh" => Some(Variable::of_a_network(false).below(0)),
        _ if among(&OF_NETWORKS) => Some(Variable::of_a_network(false)),
        _ if among(&OF_THE_HOST) => Some(Variable::of_the_host()),
        _ => None,
    }
}
