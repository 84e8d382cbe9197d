/*
 * hypervisor/boot/acpi/dsdt.asl - the devices every machine of ConfigurationVersion 1 has.
 *
 * What differs between machines is read from the facts (struct acpi_facts in hypervisor/boot/acpi.h),
 * which lie in the shared page, so that one table fits all. Processors are in ssdt_cpu*.asl.
 */
DefinitionBlock ("", "DSDT", 2, "FRHOLD", "FREEHOLD", 1)
{
	/* MAP_SHARED_PAGE + 0x100 of hypervisor/core/machine.h */
	OperationRegion (FACT, SystemMemory, 0x000EF100, 0x18)
	Field (FACT, DWordAcc, NoLock, Preserve)
	{
		NCPU, 32,	/* processors */
		COM1, 1,	/* serial ports present */
		COM2, 1,
		, 30,
		HBAS, 64,	/* high VMBus window */
		HLEN, 64
	}

	/* _STA of processor Arg0. */
	Method (CSTA, 1)
	{
		If (Arg0 < NCPU)
		{
			Return (0x0F)
		}
		Return (Zero)
	}

	/* Soft-off: what is written to the sleep type field of the PM1 control registers. */
	Name (_S5, Package () { 5, 5, 0, 0 })

	Scope (_SB)
	{
		/* Owner of the memory windows from which guests give room to VMBus devices. */
		Device (VMOD)
		{
			Name (_HID, "ACPI0004")
			Name (_UID, Zero)
			Name (WIND, ResourceTemplate ()
			{
				/* MAP_VMBUS_LOW */
				QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
					0, 0xF0000000, 0xF7FFFFFF, 0, 0x08000000)
				/* replaced by the facts */
				QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
					0, 0x140000000, 0x15FFFFFFF, 0, 0x20000000, , , HIGH)
			})
			Method (_CRS, 0, Serialized)
			{
				CreateQWordField (WIND, ^HIGH._MIN, WMIN)
				CreateQWordField (WIND, ^HIGH._MAX, WMAX)
				CreateQWordField (WIND, ^HIGH._LEN, WLEN)
				WMIN = HBAS
				WMAX = HBAS + HLEN - 1
				WLEN = HLEN
				Return (WIND)
			}

			Device (VMBS)
			{
				/* Guests compare it letter by letter; a method, since it is no well-formed id. */
				Method (_HID)
				{
					Return ("VMBus")
				}
				Name (_UID, Zero)
				Name (_DDN, "VMBUS")
				Name (_STA, 0x0F)
				/* Only an end tag: guests insist on it and then go on to the parent. */
				Name (_CRS, Buffer () { 0x79, 0x00 })
				/* It cannot be switched off or moved, but ACPI wants these three together. */
				Method (_DIS) {}
				Method (_SRS, 1, Serialized) {}
				Name (_PRS, Buffer () { 0x79, 0x00 })
				Method (_PS0) {}
				Method (_PS3) {}
			}
		}

		/* VM generation id: ADDR is where its 16 bytes are (MAP_SHARED_PAGE). Windows looks for the id in
		 * mixed case, Linux in capitals. */
		Device (VGEN)
		{
			Name (_HID, "FHLD0001")
			Name (_CID, Package () { "VM_Gen_Counter", "VM_GEN_COUNTER" })
			Name (_DDN, "VM_Gen_Counter")
			Name (_UID, Zero)
			Name (ADDR, Package () { 0x000EF000, Zero })
		}

		Device (RTC0)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0070, 0x0070, 1, 2)
				IRQNoFlags () { 8 }
			})
		}

		Device (UAR1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_DDN, "COM1")
			Method (_STA)
			{
				Return (COM1 * 0x0F)
			}
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x03F8, 0x03F8, 1, 8)
				IRQNoFlags () { 4 }
			})
		}

		Device (UAR2)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 2)
			Name (_DDN, "COM2")
			Method (_STA)
			{
				Return (COM2 * 0x0F)
			}
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x02F8, 0x02F8, 1, 8)
				IRQNoFlags () { 3 }
			})
		}
	}

	Scope (_GPE)
	{
		/* GPE_VMGENID: the generation id has changed. */
		Method (_E00)
		{
			Notify (\_SB.VGEN, 0x80)
		}
	}
}
