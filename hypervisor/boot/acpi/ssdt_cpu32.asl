/*
 * hypervisor/boot/acpi/ssdt_cpu32.asl - processors 32 to 63.
 *
 * See ssdt_cpu0.asl.
 */
DefinitionBlock ("", "SSDT", 2, "FRHOLD", "FHCPU32", 1)
{
	External (\CSTA, MethodObj)

	Scope (\_SB)
	{
		Device (C032) { Name (_HID, "ACPI0007") Name (_UID, 32) }
		Device (C033) { Name (_HID, "ACPI0007") Name (_UID, 33) Method (_STA) { Return (\CSTA (33)) } }
		Device (C034) { Name (_HID, "ACPI0007") Name (_UID, 34) Method (_STA) { Return (\CSTA (34)) } }
		Device (C035) { Name (_HID, "ACPI0007") Name (_UID, 35) Method (_STA) { Return (\CSTA (35)) } }
		Device (C036) { Name (_HID, "ACPI0007") Name (_UID, 36) Method (_STA) { Return (\CSTA (36)) } }
		Device (C037) { Name (_HID, "ACPI0007") Name (_UID, 37) Method (_STA) { Return (\CSTA (37)) } }
		Device (C038) { Name (_HID, "ACPI0007") Name (_UID, 38) Method (_STA) { Return (\CSTA (38)) } }
		Device (C039) { Name (_HID, "ACPI0007") Name (_UID, 39) Method (_STA) { Return (\CSTA (39)) } }
		Device (C040) { Name (_HID, "ACPI0007") Name (_UID, 40) Method (_STA) { Return (\CSTA (40)) } }
		Device (C041) { Name (_HID, "ACPI0007") Name (_UID, 41) Method (_STA) { Return (\CSTA (41)) } }
		Device (C042) { Name (_HID, "ACPI0007") Name (_UID, 42) Method (_STA) { Return (\CSTA (42)) } }
		Device (C043) { Name (_HID, "ACPI0007") Name (_UID, 43) Method (_STA) { Return (\CSTA (43)) } }
		Device (C044) { Name (_HID, "ACPI0007") Name (_UID, 44) Method (_STA) { Return (\CSTA (44)) } }
		Device (C045) { Name (_HID, "ACPI0007") Name (_UID, 45) Method (_STA) { Return (\CSTA (45)) } }
		Device (C046) { Name (_HID, "ACPI0007") Name (_UID, 46) Method (_STA) { Return (\CSTA (46)) } }
		Device (C047) { Name (_HID, "ACPI0007") Name (_UID, 47) Method (_STA) { Return (\CSTA (47)) } }
		Device (C048) { Name (_HID, "ACPI0007") Name (_UID, 48) Method (_STA) { Return (\CSTA (48)) } }
		Device (C049) { Name (_HID, "ACPI0007") Name (_UID, 49) Method (_STA) { Return (\CSTA (49)) } }
		Device (C050) { Name (_HID, "ACPI0007") Name (_UID, 50) Method (_STA) { Return (\CSTA (50)) } }
		Device (C051) { Name (_HID, "ACPI0007") Name (_UID, 51) Method (_STA) { Return (\CSTA (51)) } }
		Device (C052) { Name (_HID, "ACPI0007") Name (_UID, 52) Method (_STA) { Return (\CSTA (52)) } }
		Device (C053) { Name (_HID, "ACPI0007") Name (_UID, 53) Method (_STA) { Return (\CSTA (53)) } }
		Device (C054) { Name (_HID, "ACPI0007") Name (_UID, 54) Method (_STA) { Return (\CSTA (54)) } }
		Device (C055) { Name (_HID, "ACPI0007") Name (_UID, 55) Method (_STA) { Return (\CSTA (55)) } }
		Device (C056) { Name (_HID, "ACPI0007") Name (_UID, 56) Method (_STA) { Return (\CSTA (56)) } }
		Device (C057) { Name (_HID, "ACPI0007") Name (_UID, 57) Method (_STA) { Return (\CSTA (57)) } }
		Device (C058) { Name (_HID, "ACPI0007") Name (_UID, 58) Method (_STA) { Return (\CSTA (58)) } }
		Device (C059) { Name (_HID, "ACPI0007") Name (_UID, 59) Method (_STA) { Return (\CSTA (59)) } }
		Device (C060) { Name (_HID, "ACPI0007") Name (_UID, 60) Method (_STA) { Return (\CSTA (60)) } }
		Device (C061) { Name (_HID, "ACPI0007") Name (_UID, 61) Method (_STA) { Return (\CSTA (61)) } }
		Device (C062) { Name (_HID, "ACPI0007") Name (_UID, 62) Method (_STA) { Return (\CSTA (62)) } }
		Device (C063) { Name (_HID, "ACPI0007") Name (_UID, 63) Method (_STA) { Return (\CSTA (63)) } }
	}
}
