"""The counters of each protocol, one slotted class a MIB, under the names that Linux prints (snmp(5) lists,
net/ipv4/proc.c).

`names` is the order of the text form and nothing else may be counted: a misspelt counter is an
AttributeError. All start at 0 but the few settings that /proc prints among them. Counting is `mib.InSegs +=
1` under the kernel lock: 10 ns.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

__all__ = ["IcmpMib", "IcmpMsgMib", "IpExtMib", "IpMib", "Mib", "TcpExtMib", "TcpMib", "UdpLiteMib", "UdpMib"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


class Mib:
    """A group of counters: `prefix` and `names` as the text form has them, one int attribute a name."""

    prefix: ClassVar[str] = ""
    names: ClassVar[tuple[str, ...]] = ()
    __slots__ = ()

    def as_dict(self) -> dict[str, int]:
        """Every counter by name, in the order of the text form."""
        return {name: getattr(self, name) for name in self.names}

    def __repr__(self) -> str:
        counted = " ".join(f"{name}={value}" for name, value in self.as_dict().items() if value)
        return f"<{self.prefix} {counted}>"


class IcmpMsgMib(Mib):
    """ICMP messages by type number (RFC 4293, icmpMsgStatsTable). Only the types seen exist, as in Linux's
    text.
    """

    prefix = "IcmpMsg"
    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received: dict[int, int] = {}
        self.sent: dict[int, int] = {}

    def as_dict(self) -> dict[str, int]:
        counts = {f"InType{kind}": self.received[kind] for kind in sorted(self.received)}
        counts.update((f"OutType{kind}", self.sent[kind]) for kind in sorted(self.sent))
        return counts


class IpMib(Mib):
    """IPv4 (RFC 4293). `Forwarding` (1 yes, 2 no) and `DefaultTTL` are settings: the owner of the sysctls
    writes them.
    """

    prefix = "Ip"
    names = _words(
        """
        Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards
        InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs
        FragFails FragCreates OutTransmits
        """
    )
    __slots__ = names

    def __init__(self) -> None:
        self.Forwarding = 2
        self.DefaultTTL = 64
        self.InReceives = self.InHdrErrors = self.InAddrErrors = self.ForwDatagrams = 0
        self.InUnknownProtos = self.InDiscards = self.InDelivers = self.OutRequests = 0
        self.OutDiscards = self.OutNoRoutes = self.ReasmTimeout = self.ReasmReqds = 0
        self.ReasmOKs = self.ReasmFails = self.FragOKs = self.FragFails = 0
        self.FragCreates = self.OutTransmits = 0


class IcmpMib(Mib):
    """ICMP (RFC 4293). `Mibs.icmp_in` and `Mibs.icmp_out` count the fields that stand for one message type."""

    prefix = "Icmp"
    names = _words(
        """
        InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos
        InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors
        OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs
        OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps
        """
    )
    __slots__ = names

    def __init__(self) -> None:
        self.InMsgs = self.InErrors = self.InCsumErrors = self.InDestUnreachs = 0
        self.InTimeExcds = self.InParmProbs = self.InSrcQuenchs = self.InRedirects = 0
        self.InEchos = self.InEchoReps = self.InTimestamps = self.InTimestampReps = 0
        self.InAddrMasks = self.InAddrMaskReps = self.OutMsgs = self.OutErrors = 0
        self.OutRateLimitGlobal = self.OutRateLimitHost = self.OutDestUnreachs = self.OutTimeExcds = 0
        self.OutParmProbs = self.OutSrcQuenchs = self.OutRedirects = self.OutEchos = 0
        self.OutEchoReps = self.OutTimestamps = self.OutTimestampReps = self.OutAddrMasks = 0
        self.OutAddrMaskReps = 0


class TcpMib(Mib):
    """TCP (RFC 4022). The first four are settings: 1 ("other"), the bounds of the RTO in ms, no limit of
    connections. `CurrEstab` is a gauge: the connections in ESTABLISHED or CLOSE-WAIT.
    """

    prefix = "Tcp"
    names = _words(
        """
        RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab
        InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
        """
    )
    __slots__ = names

    def __init__(self) -> None:
        self.RtoAlgorithm = 1
        self.RtoMin = 200
        self.RtoMax = 120000
        self.MaxConn = -1
        self.ActiveOpens = self.PassiveOpens = self.AttemptFails = self.EstabResets = 0
        self.CurrEstab = self.InSegs = self.OutSegs = self.RetransSegs = 0
        self.InErrs = self.OutRsts = self.InCsumErrors = 0


class UdpMib(Mib):
    """UDP (RFC 4113, and five fields of Linux's own)."""

    prefix = "Udp"
    names = _words(
        """
        InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti
        MemErrors
        """
    )
    __slots__ = names

    def __init__(self) -> None:
        self.InDatagrams = self.NoPorts = self.InErrors = self.OutDatagrams = 0
        self.RcvbufErrors = self.SndbufErrors = self.InCsumErrors = self.IgnoredMulti = 0
        self.MemErrors = 0


class UdpLiteMib(UdpMib):
    """The same of UDP-Lite (RFC 5097)."""

    prefix = "UdpLite"
    __slots__ = ()


class TcpExtMib(Mib):
    """What Linux counts of TCP beyond the RFC: the LINUX_MIB_* list, by the names of its text form."""

    prefix = "TcpExt"
    names = _words(
        """
        SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned OfoPruned
        OutOfWindowIcmps LockDroppedIcmps ArpFilter TW TWRecycled TWKilled PAWSActive PAWSEstab BeyondWindow
        TSEcrRejected PAWSOldAck PAWSTimewait DelayedACKs DelayedACKLocked DelayedACKLost ListenOverflows
        ListenDrops TCPHPHits TCPPureAcks TCPHPAcks TCPRenoRecovery TCPSackRecovery TCPSACKReneging
        TCPSACKReorder TCPRenoReorder TCPTSReorder TCPFullUndo TCPPartialUndo TCPDSACKUndo TCPLossUndo
        TCPLostRetransmit TCPRenoFailures TCPSackFailures TCPLossFailures TCPFastRetrans TCPSlowStartRetrans
        TCPTimeouts TCPLossProbes TCPLossProbeRecovery TCPRenoRecoveryFail TCPSackRecoveryFail
        TCPRcvCollapsed TCPBacklogCoalesce TCPDSACKOldSent TCPDSACKOfoSent TCPDSACKRecv TCPDSACKOfoRecv
        TCPAbortOnData TCPAbortOnClose TCPAbortOnMemory TCPAbortOnTimeout TCPAbortOnLinger TCPAbortFailed
        TCPMemoryPressures TCPMemoryPressuresChrono TCPSACKDiscard TCPDSACKIgnoredOld TCPDSACKIgnoredNoUndo
        TCPSpuriousRTOs TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPSackShifted TCPSackMerged
        TCPSackShiftFallback TCPBacklogDrop PFMemallocDrop TCPMinTTLDrop TCPDeferAcceptDrop
        IPReversePathFilter TCPTimeWaitOverflow TCPReqQFullDoCookies TCPReqQFullDrop TCPRetransFail
        TCPRcvCoalesce TCPOFOQueue TCPOFODrop TCPOFOMerge TCPChallengeACK TCPSYNChallenge TCPFastOpenActive
        TCPFastOpenActiveFail TCPFastOpenPassive TCPFastOpenPassiveFail TCPFastOpenListenOverflow
        TCPFastOpenCookieReqd TCPFastOpenBlackhole TCPSpuriousRtxHostQueues BusyPollRxPackets TCPAutoCorking
        TCPFromZeroWindowAdv TCPToZeroWindowAdv TCPWantZeroWindowAdv TCPSynRetrans TCPOrigDataSent
        TCPHystartTrainDetect TCPHystartTrainCwnd TCPHystartDelayDetect TCPHystartDelayCwnd
        TCPACKSkippedSynRecv TCPACKSkippedPAWS TCPACKSkippedSeq TCPACKSkippedFinWait2 TCPACKSkippedTimeWait
        TCPACKSkippedChallenge TCPWinProbe TCPKeepAlive TCPMTUPFail TCPMTUPSuccess TCPDelivered
        TCPDeliveredCE TCPAckCompressed TCPZeroWindowDrop TCPRcvQDrop TCPWqueueTooBig
        TCPFastOpenPassiveAltKey TcpTimeoutRehash TcpDuplicateDataRehash TCPDSACKRecvSegs
        TCPDSACKIgnoredDubious TCPMigrateReqSuccess TCPMigrateReqFailure TCPPLBRehash TCPAORequired TCPAOBad
        TCPAOKeyNotFound TCPAOGood TCPAODroppedIcmps
        """
    )
    __slots__ = names

    def __init__(self) -> None:
        self.SyncookiesSent = self.SyncookiesRecv = self.SyncookiesFailed = self.EmbryonicRsts = 0
        self.PruneCalled = self.RcvPruned = self.OfoPruned = self.OutOfWindowIcmps = 0
        self.LockDroppedIcmps = self.ArpFilter = self.TW = self.TWRecycled = 0
        self.TWKilled = self.PAWSActive = self.PAWSEstab = self.BeyondWindow = 0
        self.TSEcrRejected = self.PAWSOldAck = self.PAWSTimewait = self.DelayedACKs = 0
        self.DelayedACKLocked = self.DelayedACKLost = self.ListenOverflows = self.ListenDrops = 0
        self.TCPHPHits = self.TCPPureAcks = self.TCPHPAcks = self.TCPRenoRecovery = 0
        self.TCPSackRecovery = self.TCPSACKReneging = self.TCPSACKReorder = self.TCPRenoReorder = 0
        self.TCPTSReorder = self.TCPFullUndo = self.TCPPartialUndo = self.TCPDSACKUndo = 0
        self.TCPLossUndo = self.TCPLostRetransmit = self.TCPRenoFailures = self.TCPSackFailures = 0
        self.TCPLossFailures = self.TCPFastRetrans = self.TCPSlowStartRetrans = self.TCPTimeouts = 0
        self.TCPLossProbes = self.TCPLossProbeRecovery = 0
        self.TCPRenoRecoveryFail = self.TCPSackRecoveryFail = 0
        self.TCPRcvCollapsed = self.TCPBacklogCoalesce = self.TCPDSACKOldSent = self.TCPDSACKOfoSent = 0
        self.TCPDSACKRecv = self.TCPDSACKOfoRecv = self.TCPAbortOnData = self.TCPAbortOnClose = 0
        self.TCPAbortOnMemory = self.TCPAbortOnTimeout = self.TCPAbortOnLinger = self.TCPAbortFailed = 0
        self.TCPMemoryPressures = self.TCPMemoryPressuresChrono = 0
        self.TCPSACKDiscard = self.TCPDSACKIgnoredOld = 0
        self.TCPDSACKIgnoredNoUndo = self.TCPSpuriousRTOs = self.TCPMD5NotFound = self.TCPMD5Unexpected = 0
        self.TCPMD5Failure = self.TCPSackShifted = self.TCPSackMerged = self.TCPSackShiftFallback = 0
        self.TCPBacklogDrop = self.PFMemallocDrop = self.TCPMinTTLDrop = self.TCPDeferAcceptDrop = 0
        self.IPReversePathFilter = self.TCPTimeWaitOverflow = 0
        self.TCPReqQFullDoCookies = self.TCPReqQFullDrop = 0
        self.TCPRetransFail = self.TCPRcvCoalesce = self.TCPOFOQueue = self.TCPOFODrop = 0
        self.TCPOFOMerge = self.TCPChallengeACK = self.TCPSYNChallenge = self.TCPFastOpenActive = 0
        self.TCPFastOpenActiveFail = self.TCPFastOpenPassive = 0
        self.TCPFastOpenPassiveFail = self.TCPFastOpenListenOverflow = 0
        self.TCPFastOpenCookieReqd = self.TCPFastOpenBlackhole = 0
        self.TCPSpuriousRtxHostQueues = self.BusyPollRxPackets = 0
        self.TCPAutoCorking = self.TCPFromZeroWindowAdv = 0
        self.TCPToZeroWindowAdv = self.TCPWantZeroWindowAdv = 0
        self.TCPSynRetrans = self.TCPOrigDataSent = self.TCPHystartTrainDetect = self.TCPHystartTrainCwnd = 0
        self.TCPHystartDelayDetect = self.TCPHystartDelayCwnd = 0
        self.TCPACKSkippedSynRecv = self.TCPACKSkippedPAWS = 0
        self.TCPACKSkippedSeq = self.TCPACKSkippedFinWait2 = 0
        self.TCPACKSkippedTimeWait = self.TCPACKSkippedChallenge = 0
        self.TCPWinProbe = self.TCPKeepAlive = self.TCPMTUPFail = self.TCPMTUPSuccess = 0
        self.TCPDelivered = self.TCPDeliveredCE = self.TCPAckCompressed = self.TCPZeroWindowDrop = 0
        self.TCPRcvQDrop = self.TCPWqueueTooBig = self.TCPFastOpenPassiveAltKey = self.TcpTimeoutRehash = 0
        self.TcpDuplicateDataRehash = self.TCPDSACKRecvSegs = 0
        self.TCPDSACKIgnoredDubious = self.TCPMigrateReqSuccess = 0
        self.TCPMigrateReqFailure = self.TCPPLBRehash = self.TCPAORequired = self.TCPAOBad = 0
        self.TCPAOKeyNotFound = self.TCPAOGood = self.TCPAODroppedIcmps = 0


class IpExtMib(Mib):
    """What Linux counts of IPv4 beyond the RFC: octets, multicast, broadcast, ECN marks."""

    prefix = "IpExt"
    names = _words(
        """
        InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets OutOctets
        InMcastOctets OutMcastOctets InBcastOctets OutBcastOctets InCsumErrors InNoECTPkts InECT1Pkts
        InECT0Pkts InCEPkts ReasmOverlaps
        """
    )
    __slots__ = names

    def __init__(self) -> None:
        self.InNoRoutes = self.InTruncatedPkts = self.InMcastPkts = self.OutMcastPkts = 0
        self.InBcastPkts = self.OutBcastPkts = self.InOctets = self.OutOctets = 0
        self.InMcastOctets = self.OutMcastOctets = self.InBcastOctets = self.OutBcastOctets = 0
        self.InCsumErrors = self.InNoECTPkts = self.InECT1Pkts = self.InECT0Pkts = 0
        self.InCEPkts = self.ReasmOverlaps = 0
